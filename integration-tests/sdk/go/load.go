// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand"
	"sync"
	"sync/atomic"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
)

const timerMsMax = 2000

// load starts short workflows at the rate whatever the answers; the journal holds what was
// acknowledged.
func load(o *options) int {
	c, err := connect(o, "client")
	if err != nil {
		return broken(err)
	}
	defer c.Close()
	out, err := openJournal(o.journals[0])
	if err != nil {
		return broken(err)
	}
	rng := rand.New(rand.NewSource(o.seed))
	var acknowledged, unknown atomic.Int64
	var flying sync.WaitGroup
	ticks(o, func(n int64) {
		timer := 1 + rng.Int63n(timerMsMax)
		flying.Add(1)
		go func() {
			defer flying.Done()
			line := entry{ID: fmt.Sprintf("%s-%d", o.prefix, n), N: &n, TimerMs: timer}
			ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
			defer cancel()
			run, err := c.ExecuteWorkflow(ctx, startOptions{ID: line.ID, TaskQueue: o.queue,
				WorkflowExecutionErrorWhenAlreadyStarted: true}, "Short", shortArg{n, timer})
			if err != nil {
				line.Unknown, line.Error = true, errorClass(err)
				unknown.Add(1)
			} else {
				line.Run = run.GetRunID()
				acknowledged.Add(1)
			}
			out.write(line)
		}()
	})
	flying.Wait()
	fmt.Printf("load: %d acknowledged, %d unknown\n", acknowledged.Load(), unknown.Load())
	return 0
}

// verifyOne: the start has completed, in the run that was acknowledged, as it should.
func verifyOne(o *options, c client.Client, line entry) error {
	ctx, cancel := context.WithTimeout(context.Background(), o.timeout)
	defer cancel()
	var got shortResult
	for {
		run := c.GetWorkflow(ctx, line.ID, line.Run)
		err := run.GetWithOptions(ctx, &got, client.WorkflowRunGetOptions{DisableFollowingRuns: true})
		if err == nil {
			break
		}
		if final(err) || pause(ctx, retryPause) {
			return err
		}
	}
	if want := (shortResult{*line.N, *line.N * *line.N, line.TimerMs}); got != want {
		return fmt.Errorf("returned %v, want %v", got, want)
	}
	for {
		current, err := c.DescribeWorkflowExecution(ctx, line.ID, "")
		var gone *serviceerror.NotFound
		if err != nil && !errors.As(err, &gone) && !pause(ctx, retryPause) {
			continue
		}
		if err != nil {
			return err
		}
		if id := current.WorkflowExecutionInfo.Execution.RunId; id != line.Run {
			return fmt.Errorf("has another run, %s", id)
		}
		return nil
	}
}

func verify(o *options) int {
	c, err := connect(o, "client")
	if err != nil {
		return broken(err)
	}
	defer c.Close()
	lines, err := readLines[entry](o.journals)
	if err != nil {
		return broken(err)
	}
	wanted := map[string]bool{}
	acknowledged := []entry{}
	unknown := 0
	for _, line := range lines {
		switch {
		case line.N == nil:
		case line.Unknown:
			unknown++
		default:
			acknowledged = append(acknowledged, line)
			wanted[line.ID] = true
		}
	}
	var problems atomic.Int64
	each(o, acknowledged, func(line entry) {
		if err := verifyOne(o, c, line); err != nil {
			fmt.Printf("FAIL verify: %s: %v\n", line.ID, err)
			problems.Add(1)
		}
	})
	good := len(acknowledged) - int(problems.Load())
	tail := ""
	if o.effects != "" {
		bad := 0
		if tail, bad, err = verifyEffects(o.effects, wanted); err != nil {
			return broken(err)
		}
		problems.Add(int64(bad))
	}
	fmt.Printf("verify: acknowledged=%d good=%d unknown=%d%s\n", len(acknowledged), good, unknown, tail)
	return int(min(problems.Load(), 1))
}

// verifyEffects: each workflow left an effect, and no attempt, which no server may hand out twice,
// left two.
func verifyEffects(path string, wanted map[string]bool) (summary string, bad int, err error) {
	effects, err := readLines[effectLine]([]string{path})
	if err != nil {
		return "", 0, err
	}
	executions, attempts := map[string]int{}, map[effectLine]int{}
	total, repeated := 0, 0
	for _, effect := range effects {
		if !wanted[effect.ID] {
			continue
		}
		total++
		executions[effect.ID]++
		attempts[effect]++
	}
	for effect, times := range attempts {
		if times > 1 {
			fmt.Printf("FAIL verify: %s attempt %d ran %d times\n", effect.ID, effect.Attempt, times)
			bad++
		}
	}
	for id := range wanted {
		if executions[id] == 0 {
			fmt.Printf("FAIL verify: %s left no effect\n", id)
			bad++
		}
		if executions[id] > 1 {
			repeated++
		}
	}
	return fmt.Sprintf(" executions=%d repeated=%d", total, repeated), bad, nil
}
