"""A small illustrator in Pillow and numpy: lofted cars, painted scenery, and the scenes that put them together."""
