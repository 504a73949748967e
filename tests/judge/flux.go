package main

import (
	"context"
	"encoding/json"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/runtime/cel"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// checks are the expressions of one entry of healthCheckExprs in a Kustomization of Flux.
type checks = kustomize.HealthCheckExpressions

// judgeByExpressions evaluates healthCheckExprs with Flux's own code.
func judgeByExpressions(asked question) (answer, error) {
	evaluator, err := cel.NewStatusEvaluator(&asked.Checks)
	if err != nil {
		return answer{}, err
	}
	object, err := toUnstructured(asked.Object)
	if err != nil {
		return answer{}, err
	}
	result, err := evaluator.Evaluate(context.Background(), object)
	if err != nil {
		return answer{}, err
	}
	return answer{Status: string(result.Status), Message: result.Message}, nil
}

// judgeByConditions is what Flux, and others that know kstatus, see where no expression is given.
func judgeByConditions(asked question) (answer, error) {
	object, err := toUnstructured(asked.Object)
	if err != nil {
		return answer{}, err
	}
	result, err := status.Compute(object)
	if err != nil {
		return answer{}, err
	}
	return answer{Status: string(result.Status), Message: result.Message}, nil
}

// toUnstructured gives numbers the types that a client of Kubernetes gives them.
func toUnstructured(object map[string]any) (*unstructured.Unstructured, error) {
	text, err := json.Marshal(object)
	if err != nil {
		return nil, err
	}
	found := &unstructured.Unstructured{}
	return found, found.UnmarshalJSON(text)
}
