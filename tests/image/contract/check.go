package contract

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/doctor"
	"github.com/vdi-platform/vdi-platform/tests/cluster"
	"github.com/vdi-platform/vdi-platform/tests/image"
	"github.com/vdi-platform/vdi-platform/tests/standins"
)

// Checker judges archives.
type Checker struct {
	// Cluster to run images on; nil: only what can be seen without is judged.
	Cluster *cluster.Cluster
	// Agent is the name of an image with the agent that is on the node; empty: it is built.
	Agent string
	// Patience is how long a desktop may take until it answers.
	Patience time.Duration
}

// Check judges the image in an archive with a template.
func (c *Checker) Check(ctx context.Context, archive string, template *vdi.VDITemplate) ([]doctor.Line, error) {
	folder, err := os.MkdirTemp("", "vdi-image-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	img, err := Read(archive, folder, Machine())
	if err != nil {
		return nil, err
	}
	digest, err := img.Digest()
	if err != nil {
		return nil, fmt.Errorf("digest image: %w", err)
	}
	name := "vdi.local/checked:" + digest.Hex[:12]
	isOurs := false
	if given, _, err := image.Named(archive); err == nil && given != "" { // it can be loaded as it is
		name, isOurs = given, true
	}
	if c.Cluster != nil && c.Agent == "" {
		if c.Agent, err = loadAgent(ctx, c.Cluster, folder); err != nil {
			return nil, err
		}
	}
	plan, err := NewPlan(template, name, c.Agent)
	if err != nil {
		return nil, err
	}
	lines, err := Static(img, plan)
	if err != nil || c.Cluster == nil {
		return lines, err
	}
	if lines[0].State != doctor.Passed || lines[1].State != doctor.Passed {
		return append(lines, notJudged(doctor.Unjudged("the image cannot be started here"), points...)...), nil
	}
	if !isOurs {
		if archive, err = rewrite(img, name, folder); err != nil {
			return nil, err
		}
	}
	if err := c.Cluster.LoadImage(ctx, archive); err != nil {
		return nil, err
	}
	more, err := (&Runner{Cluster: c.Cluster, Patience: c.Patience}).Run(ctx, plan)
	return append(lines, more...), err
}

// rewrite gives an image a name in an archive of our form.
func rewrite(img v1.Image, name, folder string) (archive string, err error) {
	archive = filepath.Join(folder, "checked.tar")
	return archive, image.WriteFile(archive, name, img)
}

// loadAgent builds the agent from source and brings it to the node.
func loadAgent(ctx context.Context, c *cluster.Cluster, folder string) (name string, err error) {
	root, err := standins.RepositoryRoot()
	if err != nil {
		return "", err
	}
	program := filepath.Join(folder, "vdi-agent")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", program, "./operator/cmd/vdi-agent")
	build.Dir, build.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the agent: %w\n%s", err, out)
	}
	img, err := image.Binaries(image.Config{}, program)
	if err != nil {
		return "", err
	}
	digest, err := img.Digest()
	if err != nil {
		return "", err
	}
	name = "vdi.local/agent:" + digest.Hex[:12]
	archive := filepath.Join(folder, "agent.tar")
	if err := image.WriteFile(archive, name, img); err != nil {
		return "", err
	}
	return name, c.LoadImage(ctx, archive)
}
