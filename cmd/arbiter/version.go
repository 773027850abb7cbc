package main

import (
	"encoding/json"
	"fmt"
	"runtime"

	"github.com/spf13/cobra"
)

// commit is stamped by -ldflags "-X main.commit=...".
var commit = "unknown"

func versionCommand() *cobra.Command {
	return &cobra.Command{Use: "version", Short: "Show the commit this program was built from", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		v := map[string]string{"commit": commit, "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH}
		if asJSON(c) {
			return printJSON(c, v)
		}
		fmt.Fprintf(c.OutOrStdout(), "arbiter commit %s, %s, %s\n", v["commit"], v["go"], v["platform"])
		return nil
	}}
}

func asJSON(c *cobra.Command) bool {
	v, err := c.Flags().GetBool("json")
	return err == nil && v
}

func printJSON(c *cobra.Command, v any) error {
	enc := json.NewEncoder(c.OutOrStdout())
	enc.SetIndent("", " ")
	return enc.Encode(v)
}
