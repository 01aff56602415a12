package command

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/yaml"

	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// versions are those of the client and of the platform.
type versions struct {
	Client   string `json:"client"`
	Platform string `json:"platform,omitempty"`
	// Unknown is why the platform's is not known.
	Unknown string `json:"unknown,omitempty"`
}

func (t *tool) versionCommand() *cobra.Command {
	var clientOnly bool
	var output string
	cmd := &cobra.Command{
		Use: "version", Short: "Print the versions of this program and of the platform",
		Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := versions{Client: t.version}
			if !clientOnly {
				v.Platform, v.Unknown = t.platformVersion(cmd.Context())
			}
			return t.printVersions(v, output, clientOnly)
		},
	}
	cmd.Flags().BoolVar(&clientOnly, "client", false, "Only this program's, without asking a cluster")
	cmd.Flags().StringVarP(&output, "output", "o", "", "Output: json or yaml")
	complete(cmd, "output", "json", "yaml")
	return cmd
}

// platformVersion is the release that the CRDs came with, which the operator's image brings.
func (t *tool) platformVersion(ctx context.Context) (version, unknown string) {
	c, err := t.connect()
	if err != nil {
		return "", err.Error()
	}
	crd, err := c.dynamic.Resource(definitionResource).Get(ctx, sessionResource.GroupResource().String(), getOptions)
	switch {
	case apierrors.IsForbidden(err):
		return "", "you may not read the definition " + sessionResource.GroupResource().String()
	case apierrors.IsNotFound(err):
		return "", "this cluster has no VDI platform"
	case err != nil:
		return "", err.Error()
	}
	if version = crd.GetAnnotations()[wire.AnnotationVersion]; version == "" {
		return "", "the definition " + crd.GetName() + " does not say"
	}
	return version, ""
}

func (t *tool) printVersions(v versions, output string, clientOnly bool) error {
	switch output {
	case "json":
		text, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			return err
		}
		fmt.Fprintln(t.Out, string(text))
	case "yaml":
		text, err := yaml.Marshal(v)
		if err != nil {
			return err
		}
		fmt.Fprint(t.Out, string(text))
	case "":
		fmt.Fprintf(t.Out, "Client: %s\n", v.Client)
		switch {
		case v.Unknown != "":
			fmt.Fprintf(t.Out, "Platform: not known: %s\n", oneLine(v.Unknown))
		case !clientOnly:
			fmt.Fprintf(t.Out, "Platform: %s\n", oneLine(v.Platform))
		}
	default:
		return fmt.Errorf("--output=%s: give json or yaml", output)
	}
	return nil
}
