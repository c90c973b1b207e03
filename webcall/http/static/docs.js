// Starts Swagger UI. In a file of its own, so that the page's policy can forbid scripts in the page.
const place = document.getElementById("docs");
SwaggerUIBundle({ domNode: place, url: place.dataset.document, deepLinking: true, validatorUrl: null });
