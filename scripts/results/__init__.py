"""All results of one evaluation: values, verdicts, tables and files."""
