"""What only looks at graphs: equations, differences, outlines, receptive fields, cost, gradient diagnosis."""
