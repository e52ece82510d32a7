"""Rules for compiled files. See docs/lint-rules.md, which is generated from them."""
