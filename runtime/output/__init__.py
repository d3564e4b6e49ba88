"""What results become: annotated pictures, tables, timelines."""
