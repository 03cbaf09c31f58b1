"""From a clip and its separated channels to pairs of augmented patches."""
