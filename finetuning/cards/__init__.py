"""What model cards share: the code that answers with a folder as run_qa.py does, tables, front matter."""
