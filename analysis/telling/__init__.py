"""The findings: what people and scripts read first, in numbers and words."""
