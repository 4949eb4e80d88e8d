"""How runs and their jobs end, resume and are cancelled: the one place that locks them."""
