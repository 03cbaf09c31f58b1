"""UrbanSound8K in its official folder."""
