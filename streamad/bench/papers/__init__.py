"""The papers' tables on the papers' data: loaded, split, trained, scored and set beside the published numbers."""
