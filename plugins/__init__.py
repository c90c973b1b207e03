"""The backends that come with the service; each uses the public interface of webcall alone."""
