"""A dozen small models, one of each kind, with which `netc selftest` verifies an installation."""

MODELS: dict[str, str] = {
    "dense network": """model {
  input x: float[5]
  target y: class(3)
  logits = x -> dense(17) -> relu -> dense(3)
  output p = softmax(logits)
  loss cross_entropy(logits, y)
  metric accuracy(logits, y)
}
train {
  batch = 9
}
""",
    "regression": """model {
  input x: float[4]
  target y: float
  h = x -> dense(9) -> tanh
  output z = h -> dense(1) -> squeeze
  loss mse(z, y)
  loss penalty = 0.01 * mean(square(h))
  metric r2(z, y)
}
train {
  optimizer = sgd(lr = 0.05, momentum = 0.9)
  precision = f64
  batch = 7
  clip_norm = 0.5
}
""",
    "convolutional network": """model {
  input x: float[6, 6, 2]
  target y: class(3)
  h = x -> conv(5) -> batchnorm -> relu -> maxpool(2)
  logits = h -> flatten -> dropout(0.3) -> dense(3)
  output p = softmax(logits)
  loss cross_entropy(logits, y)
}
train {
  batch = 17
}
""",
    "residual network": """block unit(x: float[h, w, c]) {
  return relu(x + (x -> conv(c) -> layernorm -> relu -> conv(c)))
}
model {
  input x: float[5, 5, 3]
  target y: float[2]
  output z = x -> conv(4, kernel = 3) -> unit -> unit -> global_avgpool -> dense(2)
  loss huber(z, y)
}
train {
  optimizer = adamw(lr = 0.01, decay = 0.1)
  batch = 5
}
""",
    "recurrent network": """model {
  input x: float[time <= 8, 3]
  target y: class(4)
  h = x -> gru(7)
  output z = last(h) -> dense(4)
  loss cross_entropy(z, y)
}
train {
  optimizer = rmsprop(lr = 0.01)
  batch = 6
}
""",
    "bidirectional network": """model {
  input word: class(9)[letters]
  target y: class(2)
  h = word -> embed(5) -> bidirectional(lstm(4))
  output z = concat(mean(h, over = letters), max(h, over = letters)) -> dense(2)
  loss cross_entropy(z, y)
}
train {
  optimizer = adagrad(0.1)
  batch = 6
}
""",
    "attention": """model {
  input x: float[time <= 6, 4]
  target y: float[time <= 6, 4]
  output z = x + attention(x -> dense(4), x -> dense(4), x -> dense(4)) -> layernorm -> dense(4)
  loss mse(z, y)
}
train {
  batch = 4
}
""",
    "scan": """block cell(x: float[n], h: float[m]) {
  param W: float[n, m] = glorot_uniform
  param U: float[m, m] = orthogonal
  return tanh(x @ W + h @ U)
}
model {
  input x: float[t, 3]
  target y: float[4]
  layer step = cell
  h = scan s in x with before = zeros(4), now = zeros(4) {
    after = step(s, now + 0.5 * before)
    before = now
    now = after
    yield now
  }
  output z = last(h) -> dense(4)
  loss mse(z, y)
}
train {
  precision = f64
  batch = 5
}
""",
    "variational autoencoder": """model {
  input x: float[6]
  h = x -> dense(5) -> tanh
  middle = h -> dense(2)
  logvar = h -> dense(2)
  drawn = middle + exp(0.5 * logvar) * normal_like(logvar)
  output code = middle
  again = (drawn if training else middle) -> dense(6)
  loss reconstruction = mse(again, x)
  loss divergence = 0.1 * kl(middle, logvar)
}
train {
  batch = 8
}
""",
    "derivative in a loss": """model {
  input x: float[3]
  target y: float
  z = x -> dense(6) -> tanh -> dense(1) -> squeeze
  output slope = grad(z, x)
  loss mse(z, y)
  loss size = 0.1 * mean(square(grad(z, x)))
}
train {
  optimizer = sgd(lr = 0.1)
  batch = 5
}
""",
    "weighted loss": """model {
  input x: float[4]
  target y: class(3)
  layer shared = dense(4)
  h = x -> shared -> tanh -> shared
  logits = stop_gradient(h) + h -> dense(3)
  output p = softmax(logits)
  loss weighted(cross_entropy(logits, y), sigmoid(h[0]) + 0.5)
}
train {
  batch = 4
  accumulate = 2
  freeze = "shared.b"
}
""",
    "state": """block standardised(x: float[n]) {
  state centre: float[n] = zeros
  state seen: float = zeros
  update centre = 0.9 * centre + 0.1 * mean(x, over = batch)
  update seen = seen + 1
  return x - (mean(x, over = batch) if training else centre)
}
model {
  input x: float[3]
  target y: float[2]
  output z = x -> standardised -> dense(4) -> gelu -> dense(2)
  loss mae(z, y)
}
train {
  optimizer = sgd(lr = 0.1)
  batch = 6
  schedule = cosine()
}
""",
}
