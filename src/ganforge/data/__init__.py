"""Images in: data sets as pure functions of an index, and the modules that batch them."""
