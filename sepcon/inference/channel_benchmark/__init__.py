"""What channels add where an encoder is used: measured on scenes, beside controls of equal cost."""
