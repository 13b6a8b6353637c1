"""What is measured, and with what it is compared. Not part of the package."""
