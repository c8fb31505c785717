"""Secrets in HashiCorp Vault (or OpenBao), in a key-value engine of version 2.

https://developer.hashicorp.com/vault/api-docs: kv-v2, auth/approle, auth/kubernetes, auth/token, namespaces.
"""
