// Command judge tells how Argo CD and Flux see objects. It reads a list of questions as JSON from its standard input
// and writes the list of the answers.
package main

import (
	"encoding/json"
	"fmt"
	"os"
)

// question asks one thing; what "ask" says decides which of the other fields count.
type question struct {
	Ask    string         `json:"ask"`
	Object map[string]any `json:"object"`
	Script string         `json:"script"`
	Checks checks         `json:"checks"`
	Folder string         `json:"folder"`
}

// answer is what came of a question: an error, or what the question was about.
type answer struct {
	Error   string         `json:"error,omitempty"`
	Status  string         `json:"status,omitempty"`
	Message string         `json:"message,omitempty"`
	Actions map[string]any `json:"actions,omitempty"`
	Patch   map[string]any `json:"patch,omitempty"`
	Text    string         `json:"text,omitempty"`
}

var judges = map[string]func(question) (answer, error){
	"argocd-health":  judgeHealth,
	"argocd-actions": discoverActions,
	"argocd-action":  takeAction,
	"flux":           judgeByExpressions,
	"kstatus":        judgeByConditions,
	"kustomize":      buildKustomization,
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	var questions []question
	if err := json.NewDecoder(os.Stdin).Decode(&questions); err != nil {
		return fmt.Errorf("the questions cannot be read: %w", err)
	}
	answers := make([]answer, 0, len(questions))
	for _, asked := range questions {
		judge, known := judges[asked.Ask]
		if !known {
			return fmt.Errorf("nobody can answer %q", asked.Ask)
		}
		found, err := judge(asked)
		if err != nil {
			found = answer{Error: err.Error()}
		}
		answers = append(answers, found)
	}
	return json.NewEncoder(os.Stdout).Encode(answers)
}
