"""The chapters of a report; each reads its part of the inputs and adds its exhibits to the book."""
