"""What the management API says of itself."""

import requests


def operations(house):
    """Method, path and the properties of the body of every call that the document names."""
    document = requests.get(f"{house.control_url}/api/openapi.json", timeout=30).json()
    schemas = document["components"]["schemas"]
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method not in ("get", "post", "patch", "put", "delete"):
                continue
            bodies = operation.get("requestBody", {}).get("content", {}).values()
            schema = next(iter(bodies), {}).get("schema", {})
            named = schemas.get(schema.get("$ref", "").rsplit("/", 1)[-1], schema)
            yield method, path, list(named.get("properties", {}))
