// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

const (
	again    = 500 * time.Millisecond
	readyMax = 10 * time.Second // a server that cannot tell its pollers does not hold READY up longer
)

// runWorker serves the task queue, and `<queue>-nocache` with the sticky cache switched off. The
// SDK's cache belongs to the process, so the second one is a child process, which dies with us.
// Both outlive the server: connecting, and workers that gave up, are tried again until SIGTERM.
func runWorker(o *options) int {
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	effectsPath = o.effects
	var child *exec.Cmd
	queue := o.queue
	if o.nocache {
		queue += "-nocache"
		worker.SetStickyWorkflowCacheSize(0)
	} else {
		// The kernel ties the child to the thread that starts it, which main() has locked.
		child = exec.Command("/proc/self/exe", append([]string{"worker", "--nocache"}, o.raw...)...)
		child.Stderr = os.Stderr
		child.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
		if err := child.Start(); err != nil {
			fmt.Fprintln(os.Stderr, "sdk:", err)
			return 1
		}
	}
	serve(stop, o, queue)
	if child != nil {
		_ = child.Process.Signal(syscall.SIGTERM)
		_ = child.Wait()
	}
	return 0
}

func serve(stop context.Context, o *options, queue string) {
	c, err := connect(o, "worker")
	for ; err != nil; c, err = connect(o, "worker") {
		slog.Warn("cannot connect, trying again", "error", err)
		if pause(stop, again) {
			return
		}
	}
	defer c.Close()
	if !o.nocache {
		go announce(stop, c, o, []string{queue, queue + "-nocache"})
	}
	for stop.Err() == nil {
		fatal := make(chan error, 1)
		w := makeWorker(c, queue, func(err error) {
			select {
			case fatal <- err:
			default:
			}
		})
		if err := w.Start(); err != nil {
			slog.Error("worker did not start, trying again", "queue", queue, "error", err)
			pause(stop, again)
			continue
		}
		select {
		case <-stop.Done():
			w.Stop()
		case err := <-fatal:
			slog.Error("worker ended, starting anew", "queue", queue, "error", err)
			w.Stop()
			pause(stop, again)
		}
	}
}

func makeWorker(c client.Client, queue string, onFatal func(error)) worker.Worker {
	w := worker.New(c, queue, worker.Options{
		MaxConcurrentActivityExecutionSize:      1000,
		MaxConcurrentLocalActivityExecutionSize: 100,
		// Every heartbeat goes out soon, so that scenarios can rely on the details.
		DefaultHeartbeatThrottleInterval: beatInterval,
		MaxHeartbeatThrottleInterval:     beatInterval,
		WorkerStopTimeout:                time.Second,
		OnFatalError:                     onFatal,
	})
	for name, fn := range workflows {
		w.RegisterWorkflowWithOptions(fn, workflow.RegisterOptions{Name: name})
	}
	for name, fn := range activities {
		w.RegisterActivityWithOptions(fn, activity.RegisterOptions{Name: name})
	}
	return w
}

// announce says READY once the server names pollers of ours for every queue, or cannot tell.
func announce(stop context.Context, c client.Client, o *options, queues []string) {
	for end := time.Now().Add(readyMax); time.Now().Before(end); pause(stop, 50*time.Millisecond) {
		missing, err := 0, error(nil)
		for _, queue := range queues {
			for _, kind := range []enumspb.TaskQueueType{
				enumspb.TASK_QUEUE_TYPE_WORKFLOW, enumspb.TASK_QUEUE_TYPE_ACTIVITY,
			} {
				var has bool
				if has, err = hasPoller(stop, c, o, queue, kind); !has {
					missing++
				}
			}
		}
		var unimplemented *serviceerror.Unimplemented
		if missing == 0 || errors.As(err, &unimplemented) || stop.Err() != nil {
			break
		}
	}
	fmt.Println("READY")
}

func hasPoller(stop context.Context, c client.Client, o *options, queue string,
	kind enumspb.TaskQueueType) (bool, error) {
	ctx, cancel := context.WithTimeout(stop, 2*time.Second)
	defer cancel()
	answer, err := c.WorkflowService().DescribeTaskQueue(ctx, &workflowservice.DescribeTaskQueueRequest{
		Namespace: o.namespace, TaskQueue: &taskqueuepb.TaskQueue{Name: queue}, TaskQueueType: kind})
	if err != nil {
		return false, err
	}
	return len(answer.Pollers) > 0, nil
}

// pause waits, or says true at once when it is time to stop.
func pause(stop context.Context, d time.Duration) bool {
	select {
	case <-stop.Done():
		return true
	case <-time.After(d):
		return false
	}
}
