package main

import (
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// buildKustomization is `kubectl kustomize FOLDER`.
func buildKustomization(asked question) (answer, error) {
	builder := krusty.MakeKustomizer(krusty.MakeDefaultOptions())
	found, err := builder.Run(filesys.MakeFsOnDisk(), asked.Folder)
	if err != nil {
		return answer{}, err
	}
	text, err := found.AsYaml()
	return answer{Text: string(text)}, err
}
