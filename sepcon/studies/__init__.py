"""Many runs side by side: rows, the commands they are made of, tables and pages."""
