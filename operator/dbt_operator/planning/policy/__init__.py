"""What is not admitted, beyond what CEL can see."""
