"""A config for your own data: looks at tables or arrays and proposes a YAML."""
