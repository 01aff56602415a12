// Package gpu stands in for graphics cards and NVIDIA's device plugin. It
// speaks the kubelet's real device-plugin protocol and obeys the real
// time-slicing configuration, so that scheduling, slicing and refusals are the
// kubelet's own; only the cards are made up.
//
// It must not grow behaviour of its own: where the real plugin ignores a
// setting, so does this one.
package gpu

import (
	"errors"
	"fmt"

	"sigs.k8s.io/yaml"
)

// resourceName is what NVIDIA's plugin calls a whole or sliced GPU.
const resourceName = "nvidia.com/gpu"

// Sharing is the part of NVIDIA's device plugin configuration that shares
// cards by time. The format is the plugin's api/config/v1.
type Sharing struct {
	Version string `json:"version"`
	Sharing struct {
		TimeSlicing TimeSlicing `json:"timeSlicing"`
	} `json:"sharing"`
}

// TimeSlicing says how many replicas of each card there are.
type TimeSlicing struct {
	RenameByDefault            bool       `json:"renameByDefault"`
	FailRequestsGreaterThanOne bool       `json:"failRequestsGreaterThanOne"`
	Resources                  []Resource `json:"resources"`
}

// Resource is one sliced resource.
type Resource struct {
	Name     string `json:"name"`
	Replicas int    `json:"replicas"`
}

// ParseSharing reads a plugin configuration. Keys that the stand-in has no use
// for, such as flags, are allowed.
func ParseSharing(text string) (Sharing, error) {
	var s Sharing
	if err := yaml.Unmarshal([]byte(text), &s); err != nil {
		return Sharing{}, fmt.Errorf("parse sharing configuration: %w", err)
	}
	if s.Version != "v1" {
		return Sharing{}, fmt.Errorf("parse sharing configuration: unknown version %q", s.Version)
	}
	for _, r := range s.Sharing.TimeSlicing.Resources {
		if r.Name == "" || r.Replicas < 2 {
			return Sharing{}, fmt.Errorf("parse sharing configuration: resource %q needs a name and at least 2 replicas, has %d", r.Name, r.Replicas)
		}
	}
	return s, nil
}

// DefaultSharing is used where the cluster holds no configuration: eight
// replicas, the platform's own default.
func DefaultSharing() Sharing {
	s := Sharing{Version: "v1"}
	s.Sharing.TimeSlicing.Resources = []Resource{{Name: resourceName, Replicas: 8}}
	return s
}

// Replicas is the number of slices per card; 1 means that cards are not shared.
func (s Sharing) Replicas() int {
	for _, r := range s.Sharing.TimeSlicing.Resources {
		if r.Name == resourceName {
			return r.Replicas
		}
	}
	return 1
}

// ResourceName is the name under which slices are offered.
func (s Sharing) ResourceName() string {
	if s.Replicas() > 1 && s.Sharing.TimeSlicing.RenameByDefault {
		return resourceName + ".shared"
	}
	return resourceName
}

var errMoreThanOne = errors.New("request for more than one slice of a shared GPU: maximum request size for shared resources is 1")

// check refuses what the configuration forbids, as the plugin does at allocation.
func (s Sharing) check(devices int) error {
	if devices > 1 && s.Replicas() > 1 && s.Sharing.TimeSlicing.FailRequestsGreaterThanOne {
		return errMoreThanOne
	}
	return nil
}

// sliceIDs names every slice the way NVIDIA's plugin does: UUID, or
// UUID::INDEX when shared.
func (s Sharing) sliceIDs(cards int) []string {
	var ids []string
	for card := range cards {
		id := cardID(card)
		if s.Replicas() == 1 {
			ids = append(ids, id)
			continue
		}
		for slice := range s.Replicas() {
			ids = append(ids, fmt.Sprintf("%s::%d", id, slice))
		}
	}
	return ids
}

func cardID(card int) string {
	return fmt.Sprintf("GPU-00000000-0000-4000-8000-%012d", card)
}

// labelsOf are the labels that GPU feature discovery writes beside the plugin.
func (s Sharing) labelsOf(cards int, product string) map[string]string {
	strategy := "none"
	if s.Replicas() > 1 {
		strategy = "time-slicing"
		if !s.Sharing.TimeSlicing.RenameByDefault {
			product += "-SHARED"
		}
	}
	return map[string]string{
		"nvidia.com/gpu.present":          "true",
		"nvidia.com/gpu.product":          product,
		"nvidia.com/gpu.count":            fmt.Sprint(cards),
		"nvidia.com/gpu.replicas":         fmt.Sprint(s.Replicas()), // per card
		"nvidia.com/gpu.sharing-strategy": strategy,
		"nvidia.com/mig.strategy":         "none",
	}
}
