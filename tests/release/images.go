package release

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"sigs.k8s.io/yaml"

	"github.com/vdi-platform/vdi-platform/tests/image"
)

// everything are values with which charts name all their images. What cannot be known
// here, such as a domain, is made up.
const everything = `
sessions: {domain: vdi.example.com, turn: {host: turn.example.com}}
realm: turn.example.com
vdi-operator: {sessions: {domain: vdi.example.com, turn: {host: turn.example.com}}}
gpu-operator: {enabled: true}
traefik: {enabled: true}
coturn: {enabled: true, realm: turn.example.com}
`

// ours is where our images will be: one that is there and in no release is built on demand.
const ours = "ghcr.io/vdi-platform/"

// Images are all that the platform may pull, by where they come from.
type Images struct {
	Ours      []string // built by this repository
	Desktops  []string // named by the templates that we offer
	Others    []string // named by charts
	OnDemand  []string // of ours, named by templates, and not in this release
	NotListed []string // charts that were not there to ask
}

// In are files of a release's folder, by pattern. There must be some.
func In(folder string, pattern ...string) ([]string, error) {
	path := filepath.Join(append([]string{folder}, pattern...)...)
	files, err := filepath.Glob(path)
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("no file is %s", path)
	}
	return files, err
}

// List reads a release's folder: all images of the platform, and the digests of those in it
// as lines for [ReadDigests]. Without an archive of the umbrella it asks our other charts,
// and notes whose images nobody could be asked for.
func List(folder, repository string) (list *Images, digests string, err error) {
	archives, err := In(folder, "images", "*.tar")
	if err != nil {
		return nil, "", err
	}
	var built []string
	for _, archive := range archives {
		name, digest, err := image.Named(archive)
		if err != nil {
			return nil, "", err
		}
		built = append(built, name)
		digests += strings.TrimSuffix(filepath.Base(archive), ".tar") + " " + digest.String() + "\n"
	}
	templates, err := In(repository, "values", "templates", "*.yaml")
	if err != nil {
		return nil, "", err
	}
	charts, missing, err := chartsToAsk(folder, repository)
	if err != nil {
		return nil, "", err
	}
	if list, err = ImagesOf(built, charts, templates); err == nil {
		list.NotListed = missing
	}
	return list, digests, err
}

// chartsToAsk are the umbrella, which holds all, or else those of our own.
func chartsToAsk(folder, repository string) (charts, missing []string, err error) {
	if charts, err = In(folder, "charts", "vdi-platform-[0-9]*.tgz"); err == nil {
		return charts, nil, nil
	}
	for _, name := range []string{"vdi-operator", "coturn"} {
		found, err := In(folder, "charts", name+"-[0-9]*.tgz")
		if err != nil {
			return nil, nil, err
		}
		charts = append(charts, found...)
	}
	umbrella, err := chartutil.LoadChartfile(filepath.Join(repository, "charts", "vdi-platform", "Chart.yaml"))
	if err != nil {
		return nil, nil, err
	}
	for _, dependency := range umbrella.Dependencies {
		if !strings.HasPrefix(dependency.Repository, "file://") {
			missing = append(missing, dependency.Name+" "+dependency.Version)
		}
	}
	return charts, missing, nil
}

// ImagesOf lists the images that packaged charts and files of templates name. Ours are those
// built, whichever names them.
func ImagesOf(built, charts, templates []string) (*Images, error) {
	var named []string
	for _, archive := range charts {
		images, err := imagesOfChart(archive)
		if err != nil {
			return nil, fmt.Errorf("list images of %s: %w", archive, err)
		}
		named = append(named, images...)
	}
	all := &Images{Ours: sorted(built)}
	all.Others = without(sorted(named), all.Ours)
	for _, file := range templates {
		image, err := imageOfTemplate(file)
		if err != nil {
			return nil, fmt.Errorf("list images: %w", err)
		}
		if strings.HasPrefix(image, ours) {
			all.OnDemand = append(all.OnDemand, image)
		} else {
			all.Desktops = append(all.Desktops, image)
		}
	}
	all.Desktops, all.OnDemand = sorted(all.Desktops), without(sorted(all.OnDemand), all.Ours)
	return all, nil
}

func sorted(images []string) []string { return slices.Compact(slices.Sorted(slices.Values(images))) }

func without(images, others []string) []string {
	return slices.DeleteFunc(images, func(image string) bool { return slices.Contains(others, image) })
}

// Text is a file of one image a line, with what a person must know as comments.
func (i *Images) Text() string {
	var text strings.Builder
	part := func(comment string, images []string) {
		if len(images) > 0 {
			fmt.Fprintf(&text, "\n# %s\n%s\n", comment, strings.Join(images, "\n"))
		}
	}
	text.WriteString(`# Every image that the platform may pull, as charts and templates name it.
# With global.imageRegistry=REGISTRY nodes pull REGISTRY/NAME, where NAME is the line
# without its host. 'make push' brings ours there. Copy the others, without lines like this one:
#   crane copy IMAGE REGISTRY/NAME
`)
	part("Ours, in this release", i.Ours)
	part("Desktops of others, which templates name (values/templates)", i.Desktops)
	part(`Parts of others, which charts name. GPU drivers get the node's system appended to
# their tag, such as -ubuntu24.04; the GPU Operator's are not reached by the value, see
# the notes of the install`, i.Others)
	for _, image := range i.OnDemand {
		fmt.Fprintf(&text, "\n# NOT IN THIS RELEASE: %s, which a template names. Build it with 'make release DESKTOPS=…'.\n", image)
	}
	for _, chart := range i.NotListed {
		fmt.Fprintf(&text, "\n# NOT LISTED: the images of %s, whose chart was not there.\n", chart)
	}
	return text.String()
}

func imageOfTemplate(file string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	var template struct {
		Spec struct {
			Image string `json:"image"`
		} `json:"spec"`
	}
	if err := yaml.Unmarshal(text, &template); err != nil || template.Spec.Image == "" {
		return "", errors.Join(fmt.Errorf("%s names no image", file), err)
	}
	return template.Spec.Image, nil
}

// imagesOfChart renders a chart with all its parts, and reads what it would install.
func imagesOfChart(archive string) ([]string, error) {
	c, err := loader.Load(archive)
	if err != nil {
		return nil, err
	}
	rendered, err := render(c)
	if err != nil {
		return nil, err
	}
	var images []string
	for _, name := range slices.Sorted(maps.Keys(rendered)) {
		if strings.HasSuffix(name, ".txt") {
			continue
		}
		for _, document := range strings.Split(rendered[name], "\n---") {
			var object map[string]any
			if err := yaml.Unmarshal([]byte(document), &object); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			images = append(images, imagesIn(object)...)
		}
	}
	if len(images) == 0 {
		return nil, errors.New("it names none")
	}
	return images, nil
}

func render(c *chart.Chart) (map[string]string, error) {
	var all, values map[string]any
	if err := yaml.Unmarshal([]byte(everything), &all); err != nil {
		return nil, err
	}
	values = map[string]any{}
	for key, value := range all { // a chart refuses what it does not know
		if _, known := c.Values[key]; known {
			values[key] = value
		}
	}
	if err := chartutil.ProcessDependenciesWithMerge(c, values); err != nil {
		return nil, err
	}
	capabilities := chartutil.DefaultCapabilities.Copy()
	capabilities.KubeVersion = chartutil.KubeVersion{Version: "v1.37.2", Major: "1", Minor: "37"}
	in, err := chartutil.ToRenderValues(c, values, chartutil.ReleaseOptions{Name: "vdi", Namespace: "vdi-system", IsInstall: true}, capabilities)
	if err != nil {
		return nil, err
	}
	return engine.Render(c, in)
}

// imagesIn are what an object names at any depth: as containers do, or in the parts of a
// ClusterPolicy that are not switched off.
func imagesIn(value any) (images []string) {
	switch value := value.(type) {
	case []any:
		for _, v := range value {
			images = append(images, imagesIn(v)...)
		}
	case map[string]any:
		if value["enabled"] == false {
			return nil
		}
		if image := imageNamed(value); image != "" {
			images = append(images, image)
		}
		for _, key := range slices.Sorted(maps.Keys(value)) {
			images = append(images, imagesIn(value[key])...)
		}
	}
	return images
}

func imageNamed(object map[string]any) string {
	image, _ := object["image"].(string)
	repository, _ := object["repository"].(string)
	version, _ := object["version"].(string)
	switch {
	case image == "" || repository == "":
		return image
	case strings.HasPrefix(version, "sha256:"):
		return repository + "/" + image + "@" + version
	}
	return repository + "/" + image + ":" + cmp.Or(version, "latest")
}
