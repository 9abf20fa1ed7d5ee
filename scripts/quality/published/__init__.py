"""Scores as other papers print them, for tables beside theirs; none of them decides here."""
