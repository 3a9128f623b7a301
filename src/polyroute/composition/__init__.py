"""The composition root: settings and catalog become a running gateway. The only package that names concrete classes."""
