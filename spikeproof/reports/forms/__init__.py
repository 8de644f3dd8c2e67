"""In which form is a report written? A page, a table or data."""
