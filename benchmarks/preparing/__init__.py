"""What `prepare` makes, one module per product, and the frame that writes, resumes and reports it."""
