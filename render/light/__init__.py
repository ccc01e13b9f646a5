"""What makes rendering fast: light apart from colours, backdrops and skies laid under, samples where there is noise."""
