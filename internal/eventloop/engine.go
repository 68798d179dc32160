package eventloop

import (
	"sync"

	"github.com/lesismal/nbio"
	"github.com/lesismal/nbio/mempool"
	"github.com/lesismal/nbio/nbhttp"
)

// newEngine configures nbio for the gateway: it reads and writes, accept gives
// it the connections. Each setting that departs from nbio's default says why.
func (l *Loop) newEngine() *nbhttp.Engine {
	prepareNbio()
	o := &l.opts
	e := nbhttp.NewEngine(nbhttp.Config{
		Name:    "labgate",
		NPoller: o.Pollers,
		// Small buffers stay in the cache; the kernel holds what does not fit.
		ReadBufferSize: o.ReadBuffer,
		// Our own bounds come first: this one is out of their reach, and only
		// keeps a mistake of ours from taking all the memory. nbio closes the
		// connection beyond it.
		MaxWriteBufferSize: 2*o.MaxQueued + 64<<20,
		// nbio parses nothing and runs no handler: httpConn reads the first
		// request, net/http's server the others.
		ServerExecutor:    func(f func()) { go f() },
		SupportServerOnly: true,
	})
	l.dispatch(e)
	return e
}

var nbioOnce sync.Once

// prepareNbio sets nbio's package-wide variables once: pools that do not keep
// giants, and a table of connections no longer than descriptors there can be.
func prepareNbio() {
	nbioOnce.Do(func() {
		mempool.DefaultMemPool = mempool.New(256, 64<<10)
		if n, err := descriptorLimit(); err == nil && n < nbio.MaxOpenFiles {
			nbio.MaxOpenFiles = n
		}
	})
}
