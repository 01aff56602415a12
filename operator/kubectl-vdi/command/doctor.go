package command

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/vdi-platform/vdi-platform/operator/doctor"
)

func (t *tool) doctorCommand() *cobra.Command {
	output, ca := "", ""
	cmd := &cobra.Command{
		Use: "doctor", Short: "Check an installation of the platform, with a remedy for each finding",
		Long: "Check an installation of the platform, with a remedy for each finding.\n\n" +
			"It makes nothing, and reads no Secret. What you may not read is said, and never counts as passed. " +
			"A desktop is not started: make validate, from the checkout of the release, does that, and judges network policies and keys too.\n\n" +
			"Exit codes: 0 where nothing failed, also where something could not be judged; 1 otherwise.",
		Example: `  kubectl vdi doctor

  # what failed, for a script
  kubectl vdi doctor -o json | jq '.items[] | select(.state == "FAILED")'`,
		Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "" && output != "json" && output != "yaml" {
				return fmt.Errorf("--output=%s: give json or yaml", output)
			}
			roots, err := authorities(ca)
			if err != nil {
				return err
			}
			s, err := t.survey(cmd.Context())
			if err != nil {
				return err
			}
			s.in = "" // an installation is the whole cluster's
			lines, err := t.examine(cmd.Context(), s, roots)
			if err != nil {
				return err
			}
			return t.printLines(output, lines)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "Output: json or yaml")
	cmd.Flags().StringVar(&ca, "ca", "", "File with certificates in PEM of authorities that browsers know where people work, beside this machine's")
	complete(cmd, "output", "json", "yaml")
	return cmd
}

// authorities are this machine's, and those of a file; nil: this machine's alone.
func authorities(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("--ca: %w", err)
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("--ca=%s: give a file with certificates in PEM", file)
	}
	return roots, nil
}

// finding is a check of the doctor.
type finding struct {
	name string
	// remedy counts where the verdict has none of its own.
	remedy string
	judge  func(*patient) doctor.Verdict
}

// findings are all checks, in the order in which an installation is built up.
func findings() []finding {
	return []finding{
		{"CRDs", "helm upgrade to this release applies them, or kubectl apply --server-side -f charts/vdi-operator/crds/", (*patient).definitions},
		{"programs", "kubectl describe the Deployment and its pods", (*patient).programs},
		{"admission", "helm upgrade brings it back", (*patient).admission},
		{"roles", "helm upgrade brings them back", (*patient).roles},
		{"templates", "kubectl vdi templates", (*patient).templates},
		{"storage", "kubectl get storageclasses", (*patient).storage},
		{"slices", "kubectl vdi nodes", (*patient).slices},
		{"encoders", "kubectl vdi nodes -o wide", (*patient).encoders},
		{"DNS", "point *.DOMAIN at the proxy's address", (*patient).names},
		{"TLS", "look at the certificate that the proxy shows", (*patient).certificate},
		{"proxy", "update the proxy", (*patient).proxy},
		{"relay", "look at the relay's Service and pods", (*patient).relay},
		{"metrics", "set serviceMonitor.enabled=true", (*patient).metrics},
		{"sessions", "kubectl vdi why NAME", (*patient).stuck},
		{"homes", "kubectl vdi homes --left", (*patient).homes},
		{"policies", "make validate", func(*patient) doctor.Verdict {
			return doctor.Unjudged("whether the network plugin enforces policies shows only in a desktop, and none is started").With("make validate starts one")
		}},
		{"keys", "make validate", func(*patient) doctor.Verdict {
			return doctor.Unjudged("the front door's keys are in a Secret, and none is read").With("make validate reads it, with rights that suffice")
		}},
	}
}

// examine judges everything. It goes on where something fails.
func (t *tool) examine(ctx context.Context, s *survey, roots *x509.CertPool) ([]doctor.Line, error) {
	p := &patient{survey: s, now: t.now(), version: t.version, roots: roots, lists: map[string]any{}}
	progress := t.startProgress(true)
	defer progress.stop()
	var lines []doctor.Line
	for _, f := range findings() {
		progress.show("Checking " + f.name)
		lines = append(lines, doctor.Of(f.name, f.remedy, f.judge(p)))
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	return lines, nil
}

// printLines shows what was found; an error where something failed.
func (t *tool) printLines(output string, lines []doctor.Line) error {
	if output != "" {
		if err := t.printData(output, report[doctor.Line]{Items: lines}); err != nil {
			return err
		}
	} else {
		for i := range lines {
			lines[i].Seen, lines[i].Remedy = oneLine(lines[i].Seen), t.asCalled(oneLine(lines[i].Remedy))
		}
		fmt.Fprint(t.Out, doctor.Table(lines))
	}
	if red := doctor.Red(lines); len(red) > 0 {
		return errors.New("this installation does not keep: " + doctor.List(red))
	}
	return nil
}
