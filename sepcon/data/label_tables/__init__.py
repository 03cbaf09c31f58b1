"""How tables of labels are understood: their columns, their cells, the files they name."""
