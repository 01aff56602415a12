// Command vdi-cluster runs a Kubernetes node with made-up GPUs on this machine,
// for demos and tests.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/vdi-platform/vdi-platform/tests/cluster"
)

const usage = `usage: vdi-cluster COMMAND

  up [--name demo] [--forward HOSTPORT:NODEPORT]…   start a cluster (up --help lists more)
  down [--name demo]                                end it and remove all of it
  status                                            list the clusters of this checkout
  kubeconfig [--name demo]                          print the path of the kubeconfig
  load [--name demo] ARCHIVE…                       import OCI archives into the node
  registry [--name demo] HOST:PORT                  let the node pull from a registry that speaks plain HTTP
  tools [NAME…]                                     build tools into bin/`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "vdi-cluster:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if handled, err := cluster.RunInternal(ctx, args); handled {
		return err
	}
	commands := map[string]func(context.Context, []string) error{
		"up": up, "down": down, "status": status, "kubeconfig": kubeconfig, "load": load, "registry": registry, "tools": tools,
	}
	if len(args) == 0 || commands[args[0]] == nil {
		return errors.New("no such command\n" + usage)
	}
	return commands[args[0]](ctx, args[1:])
}

// named is the flag set that most commands share.
func named(command string) (flags *flag.FlagSet, name *string) {
	flags = flag.NewFlagSet(command, flag.ExitOnError)
	return flags, flags.String("name", "demo", "name of the cluster")
}

func up(ctx context.Context, args []string) error {
	opts := cluster.Options{Progress: os.Stdout}
	flags, name := named("up")
	flags.IntVar(&opts.GPU.Cards, "gpus", 1, "number of made-up GPUs")
	flags.StringVar(&opts.GPU.Product, "gpu-product", "", "their product label (default NVIDIA-L4)")
	flags.StringVar(&opts.GPU.Namespace, "gpu-config-namespace", "", "where to look for the ConfigMap time-slicing-config (default any)")
	flags.BoolVar(&opts.NoPolicies, "no-policies", false, "do not enforce NetworkPolicies")
	flags.Func("forward", "HOSTPORT:NODEPORT, may be repeated", func(text string) error {
		f, err := cluster.ParseForward(text)
		opts.Forwards = append(opts.Forwards, f)
		return err
	})
	if err := flags.Parse(args); err != nil {
		return err
	}
	opts.Name = *name
	c, err := cluster.Up(ctx, opts)
	if err != nil {
		return err
	}
	fmt.Println("export KUBECONFIG=" + c.KubeconfigPath())
	return nil
}

func down(ctx context.Context, args []string) error {
	flags, name := named("down")
	if err := flags.Parse(args); err != nil {
		return err
	}
	start := time.Now()
	if err := cluster.Down(ctx, *name); err != nil {
		return err
	}
	fmt.Printf("cluster %s is gone after %s: no process, mount, interface, nft table, cgroup or file is left\n",
		*name, time.Since(start).Round(100*time.Millisecond))
	return nil
}

func status(ctx context.Context, _ []string) error {
	names, err := cluster.Names()
	if err != nil {
		return err
	}
	if len(names) == 0 {
		fmt.Println("no cluster is up")
	}
	for _, name := range names {
		c, err := cluster.Open(name)
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(c.Status(ctx))
	}
	return nil
}

func kubeconfig(_ context.Context, args []string) error {
	flags, name := named("kubeconfig")
	if err := flags.Parse(args); err != nil {
		return err
	}
	c, err := cluster.Open(*name)
	if err != nil {
		return err
	}
	fmt.Println(c.KubeconfigPath())
	return nil
}

func registry(_ context.Context, args []string) error {
	flags, name := named("registry")
	if err := flags.Parse(args); err != nil {
		return err
	}
	c, err := cluster.Open(*name)
	if err != nil {
		return err
	}
	if flags.NArg() != 1 {
		return fmt.Errorf("which registry? The node reaches this machine at %s", c.HostIP())
	}
	return c.PullPlain(flags.Arg(0))
}

func load(ctx context.Context, args []string) error {
	flags, name := named("load")
	if err := flags.Parse(args); err != nil {
		return err
	}
	c, err := cluster.Open(*name)
	if err != nil {
		return err
	}
	for _, archive := range flags.Args() {
		start := time.Now()
		if err := c.LoadImage(ctx, archive); err != nil {
			return err
		}
		fmt.Printf("loaded %s in %s\n", archive, time.Since(start).Round(100*time.Millisecond))
	}
	return nil
}

func tools(ctx context.Context, args []string) error {
	start := time.Now()
	if err := cluster.BuildTools(ctx, os.Stdout, args...); err != nil {
		return err
	}
	fmt.Printf("tools are ready after %s\n", time.Since(start).Round(time.Second))
	return nil
}
