"""How gunicorn serves the application; what gunicorn.conf.py needs beside settings."""
