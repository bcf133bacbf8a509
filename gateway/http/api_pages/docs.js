// The addresses are relative, so that the page works below the path of a proxy too.
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null, // no service of others is asked about this API
});
