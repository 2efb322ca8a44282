"""Recipes: named ways to come by study material, each built from the rooms' parts. Nothing imports them but the CLI."""
