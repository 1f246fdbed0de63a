"""The demo: a generated dump in the true layout, its rendered photos, and a loopback server for them."""
