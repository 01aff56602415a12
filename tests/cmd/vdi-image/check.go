package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/vdi-platform/vdi-platform/operator/doctor"
	"github.com/vdi-platform/vdi-platform/tests/cluster"
	"github.com/vdi-platform/vdi-platform/tests/image/contract"
)

// check judges an archive's image by the contract of desktop images, and runs it on a local
// cluster: the one of that name, or one of its own that ends with it.
func check(ctx context.Context, args []string) (err error) {
	var template, name string
	var static bool
	c := contract.Checker{}
	flags := flag.NewFlagSet("vdi-image check", flag.ContinueOnError)
	flags.StringVar(&template, "template", "", "file of the VDITemplate to judge it with (default one that names nothing but the image)")
	flags.BoolVar(&static, "static", false, "run nothing: judge what can be seen in the archive")
	flags.StringVar(&name, "cluster", "check", "local cluster to run it on; one that is not up is started and taken down again")
	flags.DurationVar(&c.Patience, "patience", 2*time.Minute, "how long the desktop may take until it answers")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 1 {
		return errors.New("check: give one archive, after the flags: vdi-image check [--template FILE] image.tar")
	}
	t, err := contract.ReadTemplate(template)
	if err != nil {
		return err
	}
	if !static {
		up, done, err := theCluster(ctx, name)
		if err != nil {
			return err
		}
		c.Cluster = up
		defer func() { err = errors.Join(err, done()) }()
	}
	lines, err := c.Check(ctx, flags.Arg(0), t)
	if err != nil {
		return err
	}
	fmt.Print(doctor.Table(lines))
	if red := doctor.Red(lines); len(red) > 0 {
		return fmt.Errorf("%s does not keep the contract of desktop images (values/templates/README.md): %s", flags.Arg(0), strings.Join(red, ", "))
	}
	return nil
}

// theCluster is one that is up, or a new one; done ends the new one.
func theCluster(ctx context.Context, name string) (c *cluster.Cluster, done func() error, err error) {
	if os.Getenv("VDI_CLUSTER") == "existing" {
		return nil, nil, errors.New("check: archives are run on a local cluster only; leave VDI_CLUSTER out, or use --static")
	}
	if c, err := cluster.Open(name); err == nil {
		return c, func() error { return nil }, nil
	}
	c, err = cluster.Up(ctx, cluster.Options{Name: name, NoGPU: true, DieWithParent: true, Progress: os.Stderr})
	return c, func() error { return cluster.Down(context.WithoutCancel(ctx), name) }, err
}
