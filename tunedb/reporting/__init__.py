"""Reports of a store for people: a page for the browser, Markdown, pictures, and records for notebooks."""
