"""What one would pick instead: django-pgtrigger and django-pghistory on the test app's models."""
