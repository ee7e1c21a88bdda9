"""What tests share: miniature data sets and models, record stores, processes that are killed."""
