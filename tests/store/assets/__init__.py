"""The file of every released schema, as that release made it."""
