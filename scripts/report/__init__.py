"""The report: one page that says what an evaluation found, as HTML and as Markdown."""
