"""Formulas of SAMPLING.md that only tests compute: what the product's figures are compared with."""
