"""Little worlds in which every answer can be checked, and a small model that lives in one of them."""
