"""The API group ``dbt-operator.dev/v1alpha1`` as pydantic models, from which the CRDs are
generated.
"""
